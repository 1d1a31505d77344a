"""What transfer.py is made of."""
