"""Reading files of numbers, none of which is trusted."""
