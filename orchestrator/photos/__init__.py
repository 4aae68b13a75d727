"""The gate that every uploaded photo passes: only the bytes that it returns are used. It decodes in other processes."""
