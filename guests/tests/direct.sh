#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Code that computes, and what comes between.
direct
