"""Exports of all studies in words: what they are made of, their leaderboard scores, and which ones to hand in."""
