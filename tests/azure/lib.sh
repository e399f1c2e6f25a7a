# SPDX-License-Identifier: Apache-2.0
# Sourced by the tests that need Azure Blob Storage (bash): starts Azurite, Microsoft's emulator, with an account of its own
# and a container, and sets what Azure's users set in the environment. Azurite is installed by npm below the build
# directory (or AZURITE_TOP), once. chaos_start puts the proxy that injects faults in front of it.
set -eu
SRCDIR=$(cd "${SRCDIR:-.}" && pwd)
BUILDDIR=$(cd "${BUILDDIR:-.}" && pwd)
AZURITE_VERSION=3.35.0 # the last that runs on Debian's node 18
AZURITE_DIR=${AZURITE_TOP:-$BUILDDIR}/azurite-$AZURITE_VERSION
AZURE_CONTAINER=shale-test

for tool in node npm python3 curl; do
	command -v $tool >/dev/null || { echo "skipped: $tool is not installed"; exit 77; }
done
. "$SRCDIR/tests/s3/chaos.sh"

azure_dir=$(mktemp -d "${TMPDIR:-/tmp}/shale-azure.XXXXXX")
azurite_pid=

azure_stop() {
	chaos_stop
	if [ -n "$azurite_pid" ]; then
		kill "$azurite_pid" 2>/dev/null || true
		wait "$azurite_pid" 2>/dev/null || true
	fi
	rm -rf "$azure_dir"
}
trap azure_stop EXIT

# One of several tests that run at once installs it, the others wait.
azurite_install() {
	mkdir -p "$(dirname "$AZURITE_DIR")"
	(
		flock 9
		[ -d "$AZURITE_DIR" ] && exit 0
		rm -rf "$AZURITE_DIR.new"
		mkdir "$AZURITE_DIR.new"
		echo '{ "private": true }' >"$AZURITE_DIR.new/package.json"
		timeout 500 npm install --prefix "$AZURITE_DIR.new" --no-audit --no-fund --loglevel=error "azurite@$AZURITE_VERSION" \
			>"$azure_dir/npm.log" 2>&1 && mv "$AZURITE_DIR.new" "$AZURITE_DIR"
	) 9>"$AZURITE_DIR.lock" || {
		tail -n 5 "$azure_dir/npm.log"
		echo "skipped: npm cannot install Azurite $AZURITE_VERSION"
		exit 77
	}
}

azure_start() {
	azurite_install
	for name in $(compgen -e | grep '^AZURE_'); do
		unset "$name"
	done
	unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY REQUESTS_CA_BUNDLE
	azure_port=$(free_port)
	export AZURE_STORAGE_ACCOUNT=shaletest AZURE_STORAGE_KEY
	azure_key=$(head -c 64 /dev/urandom | base64 -w 0)
	AZURE_STORAGE_KEY=$azure_key
	export AZURE_STORAGE_BLOB_ENDPOINT=http://127.0.0.1:$azure_port/$AZURE_STORAGE_ACCOUNT
	(
		cd "$azure_dir"
		AZURITE_ACCOUNTS=$AZURE_STORAGE_ACCOUNT:$AZURE_STORAGE_KEY exec node "$AZURITE_DIR/node_modules/.bin/azurite-blob" \
			--silent --disableTelemetry --inMemoryPersistence --blobHost 127.0.0.1 --blobPort "$azure_port"
	) >"$azure_dir/log" 2>&1 &
	azurite_pid=$!
	for _ in $(seq 600); do
		curl -s -o /dev/null "http://127.0.0.1:$azure_port/" && break
		kill -0 $azurite_pid 2>/dev/null || { cat "$azure_dir/log"; exit 1; }
		sleep 0.1
	done
	python3 "$SRCDIR/tests/azure/azblob.py" mkcontainer $AZURE_CONTAINER
}

# From now on by a shared access signature instead of the key: azure_use_sas [PERMISSIONS [MINUTES]]
azure_use_sas() {
	AZURE_STORAGE_SAS_TOKEN=$(AZURE_STORAGE_KEY=$azure_key python3 "$SRCDIR/tests/azure/azblob.py" sas "$@")
	export AZURE_STORAGE_SAS_TOKEN
	unset AZURE_STORAGE_KEY
}

# chaos_start [NAME=VALUE...]: from now on the endpoint is the proxy
chaos_start() {
	chaos_proxy "$azure_port" "$@"
	export AZURE_STORAGE_BLOB_ENDPOINT=http://127.0.0.1:$chaos_port/$AZURE_STORAGE_ACCOUNT
}
