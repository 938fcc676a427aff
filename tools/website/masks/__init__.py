"""The page `masks`: two students label every pixel of scenes and photographs in the reader's browser."""
