"""The benchmark in the forms of other frameworks: their task files, with our questions, words and rule."""
