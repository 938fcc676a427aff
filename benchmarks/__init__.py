"""Speed side by side with what people do today; see README.md here."""
