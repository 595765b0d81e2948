#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What goes wrong when a TLB keeps what it should drop.
memory
