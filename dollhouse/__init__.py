"""Rooms that the project draws itself, and the small models trained on them.

shapes → furniture, fixtures → plan → layout make a room (numpy, seeded); trace and light follow its rays, materials and
textures dress it in a style, paint develops the picture, truth says what can be seen. ``rooms`` is the way in.
"""
