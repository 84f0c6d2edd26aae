"""Tests of the screens: with a double of the services, in a terminal that is only memory, and in a real one."""
