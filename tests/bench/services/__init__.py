"""What is measured, each in a process of its own: the adapter, and plain programs beside it.

The plain programs are written as somebody would who needs this one call and nothing else. They may not
import the adapter.
"""
