"""The full dump as JSON: everything that is needed to write the image again."""
