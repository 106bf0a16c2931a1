"""The form of a recipe, generated from the contract's JSON schema, and its agreement with the text."""
