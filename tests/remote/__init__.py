"""Tests of the link, on real sshd."""
