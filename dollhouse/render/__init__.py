"""Draws rooms: numbers to pictures with exact truths. It knows no network and no file.

shapes → furniture, fixtures → plan → layout make a room (numpy, seeded); trace and light follow its rays, materials and
textures dress it in a style, paint develops the picture, truth says what can be seen. ``rooms`` does all of it in turn.
"""
