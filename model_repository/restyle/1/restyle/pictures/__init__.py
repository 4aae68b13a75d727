"""What is computed on pixels: geometry, recolouring, quality."""
