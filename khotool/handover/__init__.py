"""A handover without addresses, and handing out memory for one."""
