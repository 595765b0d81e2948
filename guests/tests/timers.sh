#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Sleeps, interval timers, clocks.
timers
