"""What is agreed: with Koshelek about the wire, with CRM vendors about theirs."""
