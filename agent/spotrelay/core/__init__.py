"""What is true: standard library only, no I/O, no clock. The launcher carries this folder without a wheel."""
