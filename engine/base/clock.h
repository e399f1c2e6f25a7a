/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

/* Wall time by the system clock, milliseconds and nanoseconds since the Unix epoch. */
int64_t clock_wall_ms(void);
int64_t clock_wall_ns(void);

/* Time that never goes back, for durations and deadlines; its zero means nothing. */
int64_t clock_mono_ms(void);
int64_t clock_mono_ns(void);

#endif
