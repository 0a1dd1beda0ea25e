"""The command line: ``flowjax-lite fit | evaluate | sample | compare``."""
