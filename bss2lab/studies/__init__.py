"""One function per figure panel: configuration in, frozen result out, no drawing."""
