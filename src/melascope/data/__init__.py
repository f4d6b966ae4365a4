"""Which images are there, are they sound, which split do they belong to, and what are their pixels?"""
