"""Methods over data sets: does the default do better than what is simpler?"""
