"""What an operator or `pulumi up` asks for: one module per verb."""
