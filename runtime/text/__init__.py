"""Text encoders: prompts to the embeddings that condition the model. torch is imported only to encode."""

from .cache import cache_directory
from .embed import PromptTruncated, embed_for_model, embed_prompts
from .hash_embedding import hash_embedding
from .spec import HASH_ENCODER, UMT5_ENCODER, EncoderFiles, TextSpec, find_encoder, load_text_spec, save_text_spec

__all__ = [
    "HASH_ENCODER",
    "UMT5_ENCODER",
    "EncoderFiles",
    "PromptTruncated",
    "TextSpec",
    "cache_directory",
    "embed_for_model",
    "embed_prompts",
    "find_encoder",
    "hash_embedding",
    "load_text_spec",
    "save_text_spec",
]
