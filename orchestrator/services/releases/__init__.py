"""Which release makes whose pictures, and whether one on trial is as good as the live one."""
