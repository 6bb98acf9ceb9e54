"""The tree of the model: lines are made when their parent is opened."""

from __future__ import annotations

from typing import ClassVar

from rich.style import Style
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Tree
from textual.widgets.tree import TreeNode

from khotool.tui.describe import label_line
from khotool.tui.items import Item, chain_to, has_children, items_below
from khotool.tui.place import Place
from khotool.tui.rated import BADGES
from khotool.tui.session import Session
from khotool.tui.text import Line, visible
from khotool.tui.widgets.tokens import style_of

OPENED = 100
"""Matches of a filter that are opened."""


class ModelTree(Tree[Item]):
    """The model as a tree with one cursor, which the session shares."""

    ICON_NODE = "▸ "
    ICON_NODE_EXPANDED = "▾ "
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "cursor_up", "Up", show=False, id="nav.up"),
        Binding("down,j", "cursor_down", "Down", show=False, id="nav.down"),
        Binding("left,h", "collapse_or_parent", "Close", show=False, id="nav.left"),
        Binding("right,l", "expand_or_child", "Open", show=False, id="nav.right"),
        Binding("home", "scroll_home", "Top", show=False, id="nav.top"),
        Binding("end,G", "scroll_end", "Bottom", show=False, id="nav.bottom"),
        Binding("enter", "screen.follow", "Follow", show=True, id="ref.follow"),
        Binding("space", "toggle_node", "Open or close", show=False, id="tree.toggle"),
    ]

    class Moved(Message):
        """The user moved the cursor to a place."""

        def __init__(self, place: Place) -> None:
            super().__init__()
            self.place = place

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__("", id=id)
        self.auto_expand = False
        self.guide_depth = 2
        self.show_guides = True
        self.session: Session | None = None
        self._node_of: dict[Item, TreeNode[Item]] = {}
        self._labels: dict[Item, Line] = {}
        self._open_before: list[Item] | None = None
        self._peeked: list[TreeNode[Item]] = []

    # -- contents --------------------------------------------------------------------------

    def show_session(self, session: Session) -> None:
        """Show an image from its root."""
        self.session = session
        self._open_before = None
        self._rebuild(session)
        for child in list(self.root.children):
            if child.data is not None and child.data.place.node.name == "LUO":
                self._open(child)
        self.reveal(session.cursor.place)

    def filter_changed(self, session: Session) -> None:
        """Show what the filter lets through, opened down to its matches; later, all as before."""
        shown = session.shown
        if shown is not None:
            if self._open_before is None:
                self._open_before = [i for i, node in self._node_of.items() if node.is_expanded]
            self._rebuild(session)
            for match in shown.matches[:OPENED]:
                self._open_to(Place(match))
        else:
            self._rebuild(session)
            for item in self._open_before or ():
                node = self._node_of.get(item)
                if node is not None:
                    self._open(node)
            self._open_before = None
        self.reveal(session.cursor.place)

    def _rebuild(self, session: Session) -> None:
        item = Item(Place(session.image.tree))
        self.clear()
        self._node_of = {item: self.root}
        self._labels.clear()
        self.root.data = item
        self._open(self.root)

    def _open(self, node: TreeNode[Item]) -> None:
        self._load(node)
        if not node.is_expanded:
            node.expand()

    def refresh_labels(self) -> None:
        """Badges or values have changed."""
        self._labels.clear()
        self._updates += 1
        self._invalidate()

    def _load(self, node: TreeNode[Item]) -> None:
        """Add the children of a line, once."""
        item = node.data
        if item is None or self.session is None or node.children:
            return
        shown = self.session.shown
        for below in items_below(item, shown):
            more = below.is_bucket or has_children(below.place, shown)
            self._node_of[below] = node.add("", below, allow_expand=more)

    def on_tree_node_expanded(self, event: Tree.NodeExpanded[Item]) -> None:
        """Make the children of a line that was opened."""
        event.stop()
        self._load(event.node)

    def reveal(self, place: Place | None) -> None:
        """Open what is above a place and put the cursor on it, without a message."""
        if self.session is None or place is None:
            return
        peeked, self._peeked = self._peeked, []
        node = self._open_to(place)
        if self.session.peeking:
            self._close(peeked, node)
        _ = self._tree_lines
        if node.line >= 0 and node is not self.cursor_node:
            self.move_cursor(node)
        if self.size.height:
            self.scroll_to_line(max(node.line, 0), animate=False)

    def _close(self, peeked: list[TreeNode[Item]], shown: TreeNode[Item]) -> None:
        """Close what was opened for the place before, unless the place that is shown needs it."""
        needed: set[TreeNode[Item] | None] = set()
        above = shown.parent
        while above is not None:
            needed.add(above)
            above = above.parent
        for node in peeked:
            if node in needed:
                self._peeked.append(node)
            elif node.is_expanded:
                node.collapse()

    def _open_to(self, place: Place) -> TreeNode[Item]:
        """Open what is above a place; the line of the place, or the nearest one above it."""
        assert self.session is not None
        node = self.root
        for item in chain_to(place, self.session.shown)[1:]:
            if self.session.peeking and not node.is_expanded:
                self._peeked.append(node)
            self._open(node)
            found = self._node_of.get(item)
            if found is None:
                break
            node = found
        return node

    # -- drawing ---------------------------------------------------------------------------

    def get_label_width(self, node: TreeNode[Item]) -> int:
        """Nothing: lines are cut, not scrolled, and no label is made before it is seen."""
        return 0

    def render_label(self, node: TreeNode[Item], base_style: Style, style: Style) -> Text:
        """The label of a line, with badges."""
        text = Text(no_wrap=True, end="")
        if node.allow_expand:
            icon = self.ICON_NODE_EXPANDED if node.is_expanded else self.ICON_NODE
            text.append(icon, base_style + style_of(self, "dim") + Style(meta={"toggle": True}))
        else:
            text.append("  ", base_style)
        item = node.data
        if item is None or self.session is None:
            return text
        label = self._labels.get(item)
        if label is None:
            if len(self._labels) > 5000:
                self._labels.clear()
            label = self._labels[item] = self._marked(item)
        if not item.is_bucket:
            worst = self.session.badges.worst(item.place, below=not node.is_expanded)
            if worst is not None:
                glyph, token = BADGES[worst]
                text.append(f"{glyph} ", base_style + style_of(self, token))
        for piece, token in label:
            text.append(piece, base_style + (style_of(self, token) if token else Style.null()))
        if style.bgcolor is not None or style.reverse:
            text.stylize(
                Style(bgcolor=style.bgcolor, bold=style.bold, reverse=style.reverse or None)
            )
        return text

    def _marked(self, item: Item) -> Line:
        """The label of a line, with the star and note of a bookmark."""
        assert self.session is not None
        line, notes = label_line(item, self.session.image), self.session.notes
        note = notes.get(item.place.path) if notes and not item.is_bucket else None
        return line if note is None else [("★ ", "accent"), *line, (f"  {visible(note)}", "accent")]

    def notify_style_update(self) -> None:
        """The theme has changed."""
        super().notify_style_update()
        self._labels.clear()

    # -- moves -----------------------------------------------------------------------------

    def on_tree_node_highlighted(self, event: Tree.NodeHighlighted[Item]) -> None:
        """Tell the screen, unless the screen itself moved the cursor."""
        event.stop()
        item = event.node.data
        # The message may be late: the cursor may have moved on, or the session moved it.
        if item is None or self.session is None or event.node is not self.cursor_node:
            return
        if self.has_focus and item.place != self.session.cursor.place:
            self.post_message(self.Moved(item.place))

    def on_tree_node_selected(self, event: Tree.NodeSelected[Item]) -> None:
        """A click on a line: the cursor is there already."""
        event.stop()

    def action_expand_or_child(self) -> None:
        """Open a line; an open one: to its first child."""
        node = self.cursor_node
        if node is None or not node.allow_expand:
            return
        if not node.is_expanded:
            self._open(node)
        elif node.children:
            self.action_cursor_down()

    def action_collapse_or_parent(self) -> None:
        """Close a line; a closed one: to its parent."""
        node = self.cursor_node
        if node is None:
            return
        if node.is_expanded and node.allow_expand and node is not self.root:
            node.collapse()
        else:
            self.action_cursor_parent()

    def open_or_follow(self) -> bool:
        """Open a closed line that is not a pointer; False where there is nothing to open."""
        node = self.cursor_node
        if node is None or node.data is None or not node.allow_expand:
            return False
        place = node.data.place
        leads = place.node.target is not None or place.node.reference != ""
        pointer = place.row < 0 and leads and place.node.value is not None
        if node.data.is_bucket or not pointer:
            if node.is_expanded:
                node.collapse()
            else:
                self._open(node)
            return True
        return False
