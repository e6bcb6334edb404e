/* What several tests share. */
#pragma once

/* Ends the test program as skipped (exit 77) and says why. */
_Noreturn void lode_test_skip(const char *why);
