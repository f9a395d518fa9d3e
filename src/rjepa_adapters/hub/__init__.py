"""World models and stores on the Hugging Face Hub: `push_to_hub` and `from_pretrained`.

Wherever a run or a store may stand, `hf:USER/NAME` stands for the one in that repository, and
`hf:USER/NAME@REVISION` for that of a branch, tag or commit. World models are model repositories,
stores are data sets. The token is that of `huggingface_hub`: `hf auth login`, or HF_TOKEN.
"""

from .fetch import HubError, from_pretrained
from .push import push_to_hub

__all__ = ["HubError", "from_pretrained", "push_to_hub"]
