"""From files of text to batches of ids: `read_pairs`, `write_shards`, `TokenisedCorpus`, `token_batches`, `collate`."""
