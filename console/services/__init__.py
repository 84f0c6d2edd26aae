"""Everything asynchronous: sessions, monitoring, operations and the other services of both front ends."""
