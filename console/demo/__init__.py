"""A cluster on this machine: real SSH servers on loopback with simulated Ascend tools. The product does not depend on it."""
