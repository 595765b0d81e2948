#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Fork and exec in loops, pipes between generations.
processes
