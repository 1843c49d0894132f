"""Webhooks: events of the outbox, signed and delivered at least once. https://www.standardwebhooks.com"""
