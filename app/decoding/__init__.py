"""Logits to tokens: pure rules, sampling, KV-cached rows and the loop over them. Knows token ids, never texts or personas."""
