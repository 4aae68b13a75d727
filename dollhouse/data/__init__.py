"""What training and evaluation read: rendered rooms on disk, pairs of a room and the room restyled, captions, hints."""
