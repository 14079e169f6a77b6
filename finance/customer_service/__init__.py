"""Customer service in two languages: understands what a customer wants, and says when it does not."""
