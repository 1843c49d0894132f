"""The images interface of OpenAI, for its SDKs: an adapter over the one flow. What has no counterpart is refused.

https://platform.openai.com/docs/api-reference/images
"""

from gateway.api.openai.images import OpenAIImages
from gateway.api.openai.models import OpenAIModels

__all__ = ["OpenAIImages", "OpenAIModels"]
