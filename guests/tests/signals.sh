#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Processor exceptions as signals, and what signal handlers preserve.
signals && handlers
