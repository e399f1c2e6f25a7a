#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The contract of object stores against Azurite: with the key of the account, with a shared access signature, and with
# retries through a proxy that delays, refuses, drops, loses answers, cuts bodies and stalls. Then what a user sees of
# credentials that are no good.
. "${SRCDIR:-.}/tests/azure/lib.sh"
azure_start
export SHALE_TEST_AZURE=$AZURE_CONTAINER
SHALE=$BUILDDIR/shale

"$BUILDDIR/tests/unit/test_store"

# fails PATTERN URL: listing it is refused with a sentence that matches, and holds nothing of key or signature
fails() {
	if "$SHALE" manifest "$2" >"$azure_dir/said" 2>&1; then
		echo "no failure; wanted: $1"
		exit 1
	fi
	grep -q -e "$1" "$azure_dir/said" || { echo "wanted: $1"; cat "$azure_dir/said"; exit 1; }
	for secret in ${AZURE_STORAGE_KEY:-} "${AZURE_STORAGE_SAS_TOKEN:-sig=}"; do
		! grep -qF -e "$secret" -e "sig=" "$azure_dir/said" || { echo "a secret is in the sentence"; exit 1; }
	done
}

fails 'there is no container "none-such"' az://none-such/db
AZURE_STORAGE_KEY=$(head -c 64 /dev/zero | base64 -w 0) fails 'the key from AZURE_STORAGE_KEY' az://$AZURE_CONTAINER/db
AZURE_STORAGE_KEY=short fails 'not in Base64' az://$AZURE_CONTAINER/db
AZURE_STORAGE_KEY= fails 'set AZURE_STORAGE_KEY, AZURE_STORAGE_SAS_TOKEN' az://$AZURE_CONTAINER/db

# all of it in one string
string="DefaultEndpointsProtocol=http;AccountName=$AZURE_STORAGE_ACCOUNT;AccountKey=$azure_key;BlobEndpoint=$AZURE_STORAGE_BLOB_ENDPOINT;"
(
	unset AZURE_STORAGE_ACCOUNT AZURE_STORAGE_KEY AZURE_STORAGE_BLOB_ENDPOINT
	AZURE_STORAGE_CONNECTION_STRING=$string "$BUILDDIR/tests/unit/test_store" >"$azure_dir/out" 2>&1 ||
		{ cat "$azure_dir/out"; exit 1; }
)

azure_use_sas rl
fails 'does not give this permission\|there is no' az://$AZURE_CONTAINER/db
azure_use_sas rwdlc -10
fails 'shared access signature' az://$AZURE_CONTAINER/db

azure_use_sas
contract_behind_faults
