"""Make the page `live_masks`: two students mark garments in the reader's browser, pixel by pixel."""
