"""CAN-Graph fusion: from a CAN capture to a fused intrusion verdict, without any user interface."""

__version__ = "0.1.0"
