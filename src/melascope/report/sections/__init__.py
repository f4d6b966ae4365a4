"""Which questions does a report answer, one section each?"""
