"""The gate that every uploaded photo passes: only the bytes it returns go further. Its decoders are processes."""
