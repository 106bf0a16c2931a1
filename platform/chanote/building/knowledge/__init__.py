"""Text that a policy is to know (InK): from sections of law or any other text, apart from what is evaluated."""
