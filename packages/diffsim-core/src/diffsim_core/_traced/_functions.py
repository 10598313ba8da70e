"""``Functions``: the C++ of a traced task, five functions of a block of worlds, and what each of them takes.

``before`` clips the action and makes the controls. The simulator moves. ``after`` observes, pays and says what ends;
``renew_done`` begins new episodes. Backwards, ``after_vjp`` gives the cotangents of everything that ``after`` reads,
the simulator pulls back those of what it moved, and ``before_vjp`` adds both.

As in the array library, the derivative of an array that got no cotangent does not run at all: one that is not finite
would turn zeros into NaN. So each result has a derivative of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property

from diffsim_core._traced._adjoint import adjoint
from diffsim_core._traced._emit import statements
from diffsim_core._traced._graph import Node, in_order
from diffsim_core._traced._start import Draw
from diffsim_core._traced._trace import Leaf, Traced
from diffsim_core.native import Arguments

_BLOCK = "Block b = block(item, args.num_worlds);"


class Functions:
    """See the module. Names of arguments are those of the leaves, after a letter:

    ``g`` for the cotangent of a result, ``h`` for that of the observation that comes next where it is another array,
    ``c`` for the cotangent of what is read, ``s`` for the simulator's part of it.
    """

    def __init__(self, traced: Traced) -> None:
        self.traced = traced

    @cached_property
    def derivatives(self) -> list[tuple[Leaf, dict[str, Node]]]:
        """Each result with the terms that it adds to cotangents, by their place in C++."""
        a = self.traced
        nodes = [node for leaf in a.inputs for node in leaf.nodes]
        places = [f"c{leaf.name}_[{i}]" for leaf in a.inputs for i in range(leaf.size)]
        found = []
        for leaf in a.results:
            seeds = [a.graph.input(f"g{leaf.name}", i) for i in range(leaf.size)]
            terms = adjoint(a.graph, leaf.nodes, seeds, nodes)
            found.append((leaf, {p: term for p, term in zip(places, terms, strict=True) if term is not None}))
        return found

    @cached_property
    def reached(self) -> tuple[Leaf, ...]:
        """What ``after`` reads and derivatives reach; always the action, and what the simulator moved."""
        a = self.traced
        names = {place.split("_[")[0][1:] for _, terms in self.derivatives for place in terms}
        names |= {leaf.name for leaf in (a.action, *a.moved)}
        return tuple(leaf for leaf in a.inputs if leaf.name in names)

    @cached_property
    def controls(self) -> tuple[Leaf, ...]:
        """Controls that are computed; none where the clipped action is the control."""
        return () if self.traced.same_control else self.traced.controls

    @cached_property
    def added(self) -> tuple[Leaf, ...]:
        """Physics before the step that the task's own derivative reaches."""
        return tuple(leaf for leaf in self.traced.physics if leaf in self.reached)

    @cached_property
    def renewed(self) -> tuple[Leaf, ...]:
        """What a new episode replaces."""
        a = self.traced
        return (*a.moved, *(leaf for leaf in a.remembered if leaf is not None), *a.obs)

    def arguments(self) -> dict[str, Arguments]:
        """What each function takes, by its name."""
        a = self.traced
        read = _named("", a.inputs, "const T*")
        cotangents = _named("g", a.results, "const T*") | _named("h", a.obs, "const T*")
        cotangents |= {f"g{leaf.name}": "const T*" for leaf in a.moved}
        ends = {
            "ok": "const int*",
            "t": "const int*",
            "horizon": "int",
            "t_out": "int*",
            "flags": "int*",
            "any": "int*",
        }
        fresh = _named("fresh_", self.renewed, "const T*") if a.start is None else _named("", a.start.draws, "const T*")
        fresh |= _named("old_", self.renewed, "const T*") | _named("to_", self.renewed, "T*")
        flags = {"ok": "const int*", "done": "const int*"}
        action = {"action": "const T*"}
        back = _named("g", a.controls, "const T*") | _named("c", self.added, "const T*") | _named("s", self.added, "T*")
        listed = {
            "before": ("BeforeArgs", {**action, "a": "T*", **_named("", self.controls, "T*")}),
            "after": ("AfterArgs", {**read, **_named("", a.results, "T*"), **ends}),
            "renew_done": ("RenewArgs", {"done": "const int*", **fresh, "t_out": "int*"}),
            "after_vjp": ("AfterVjpArgs", {**read, **flags, **cotangents, **_named("c", self.reached, "T*")}),
            "before_vjp": ("BeforeVjpArgs", {**action, "a": "const T*", "ca": "const T*", **back, "gaction": "T*"}),
        }
        return {name: Arguments(struct, num_worlds="int", **types) for name, (struct, types) in listed.items()}

    def text(self) -> str:
        """The header that defines the functions."""
        parts = (self._before(), self._values(), self._after(), self._renew(), self._after_vjp(), self._before_vjp())
        text = "\n".join("\n".join(part) for part in parts)
        return f"namespace ds {{\n{text}\n}}  // namespace ds\n"

    def operations(self) -> int:
        """How many statements the functions have."""
        return self.text().count(";")

    def _before(self) -> list[str]:
        a = self.traced.action
        body = [_BLOCK, _local(a), _load(a, "args.action")]
        body += [f"for (int i = 0; i < {a.size}; i++) a_[i] = smaller(larger(a_[i], number(T(-1))), number(T(1)));"]
        body += [_store(a)]
        for leaf in self.controls:
            body += [_local(leaf), *_computed([leaf]), _store(leaf)]
        return _item("before", "BeforeArgs", body)

    def _values(self) -> list[str]:
        """All results of a block, from what ``after`` reads."""
        a = self.traced
        read = "".join(f" const T* {leaf.name};" for leaf in a.inputs)
        results = "".join(f"R* {leaf.name}_, " for leaf in a.results)
        body = _loads(_used([*_nodes(a.results), a.terminated], a.inputs), "read")
        body += statements(
            [*_nodes(a.results), a.terminated],
            [*_places(a.results), "terminated"],
        )
        head = f"DS_ENTRY void values(Block b, const Read& read, {results}Mask& terminated)"
        return [f"struct Read {{{read} }};", *_function(head, body)]

    def _evaluated(self) -> list[str]:
        a = self.traced
        read = ", ".join(f"args.{leaf.name}" for leaf in a.inputs)
        results = "".join(f"{leaf.name}_, " for leaf in a.results)
        return [*map(_local, a.results), "Mask terminated;", f"values(b, Read{{{read}}}, {results}terminated);"]

    def _after(self) -> list[str]:
        a = self.traced
        body = [_BLOCK, *self._evaluated(), "Mask fine = worlds_with(b, args.ok);"]
        body += [f"if (any(not_(fine))) zero_lost(fine, {leaf.size}, {leaf.name}_);" for leaf in a.obs]
        body += [f"{x.name}_[0] = select(fine, {x.name}_[0], R{{}});" for x in (a.reward, *a.metrics)]
        body += map(_store, a.results)
        ends = "args.ok, args.t, args.horizon, args.t_out, args.flags, args.num_worlds, args.any"
        return _item("after", "AfterArgs", [*body, f"ends(b, terminated, {ends});"])

    def _renew(self) -> list[str]:
        start = self.traced.start
        body = [_BLOCK, "const Byte* done = (const Byte*)args.done;"]
        body += [f"copy_rows(b, args.old_{x.name}, {x.size}, args.to_{x.name});" for x in self.renewed]
        body += ["if (!any(worlds_with(b, done))) return;"]
        if start is not None:
            drawn = [Leaf(draw.name, draw.shape, draw.nodes) for draw in start.draws]
            body += [*_loads(_used(_nodes(start.renewed), drawn), "args"), *map(_local, start.renewed)]
            body += _computed(start.renewed)
        for leaf in self.renewed:
            new = f"renew(b, done, {leaf.name}_" if start is not None else f"renew_from(b, done, args.fresh_{leaf.name}"
            body.append(f"{new}, {leaf.size}, args.to_{leaf.name});")
        worlds = "for (int w = b.first; w < b.n && w < b.first + DS_LANES; w++)"
        return _item("renew_done", "RenewArgs", [*body, f"{worlds} if (done[w]) args.t_out[w] = 0;"])

    def _after_vjp(self) -> list[str]:
        a = self.traced
        body = [_BLOCK, "Mask fine = worlds_with(b, args.ok);"]
        body += ["Mask on = args.done ? not_(worlds_with(b, (const Byte*)args.done)) : truth(true);"]
        for leaf in self.reached:
            given = f"args.g{leaf.name}" if leaf in a.moved else "(const T*)nullptr"
            body += [_local(leaf, "c"), f"load_cotangent(b, nullptr, {given}, on, {leaf.size}, c{leaf.name}_);"]
        body += _loads(_used([node for _, terms in self.derivatives for node in terms.values()], a.inputs), "args")
        for leaf, terms in self.derivatives:
            if terms:
                body += self._derivative(leaf, terms)
        body += [_store(leaf, "c") for leaf in self.reached]
        return _item("after_vjp", "AfterVjpArgs", body)

    def _derivative(self, leaf: Leaf, terms: dict[str, Node]) -> list[str]:
        a, name, size = self.traced, leaf.name, leaf.size
        seen = leaf in a.obs
        lines = [_local(leaf, "g")]
        if leaf in a.remembered:
            lines.append(f"load_cotangent(b, nullptr, args.g{name}, on, {size}, g{name}_);")
        elif seen:
            lines.append(f"load_cotangent(b, args.g{name}, args.h{name}, on, {size}, g{name}_);")
            again = [*self._evaluated(), f"zero_lost_cotangent(fine, {size}, {name}_, g{name}_);"]
            lines += ["if (any(not_(fine))) {", *(f"    {line}" for line in again), "}"]
        else:
            lines.append(f"load_cotangent(b, args.g{name}, nullptr, on, {size}, g{name}_);")
            lines.append(f"g{name}_[0] = select(fine, g{name}_[0], R{{}});")
        lines += statements(list(terms.values()), list(terms), "{0} = {0} + {1};")
        given = f"args.g{name} || args.h{name}" if seen else f"args.g{name}"
        return [f"if ({given}) {{", *(f"    {line}" for line in lines), "}"]

    def _before_vjp(self) -> list[str]:
        a = self.traced
        size = a.action.size
        body = [_BLOCK, f"R action_[{size or 1}], ca_[{size or 1}];", f"read_rows(b, args.action, {size}, action_);"]
        body += [f"read_rows(b, args.ca, {size}, ca_);", _local(a.action), _load(a.action, "args.a")]
        for leaf in a.controls:
            body += [_local(leaf, "g"), _load(leaf, f"args.g{leaf.name}", "g")]
        seeds = [a.graph.input(f"g{leaf.name}", i) for leaf in a.controls for i in range(leaf.size)]
        terms = adjoint(a.graph, _nodes(a.controls), seeds, a.action.nodes)
        known = {f"ca_[{i}]": term for i, term in enumerate(terms) if term is not None}
        body += statements(list(known.values()), list(known), "{0} = {0} + {1};")
        inside = "(action_[i] >= number(T(-1))) & (action_[i] <= number(T(1)))"
        body += [f"for (int i = 0; i < {size}; i++) ca_[i] = select({inside}, ca_[i], R{{}});"]
        body += [f"write_rows(b, ca_, {size}, args.gaction);"]
        body += [f"add_to(b, args.c{leaf.name}, {leaf.size}, args.s{leaf.name});" for leaf in self.added]
        return _item("before_vjp", "BeforeVjpArgs", body)


def _named(prefix: str, leaves: Iterable[Leaf | Draw], kind: str) -> dict[str, str]:
    return {f"{prefix}{leaf.name}": kind for leaf in leaves}


def _nodes(leaves: Iterable[Leaf]) -> list[Node]:
    return [node for leaf in leaves for node in leaf.nodes]


def _places(leaves: Iterable[Leaf]) -> list[str]:
    return [f"{leaf.name}_[{i}]" for leaf in leaves for i in range(leaf.size)]


def _computed(leaves: Sequence[Leaf]) -> list[str]:
    return statements(_nodes(leaves), _places(leaves))


def _used(outputs: Iterable[Node], leaves: Iterable[Leaf]) -> list[Leaf]:
    read = {node.value[0] for node in in_order(outputs) if node.op == "input"}
    return [leaf for leaf in leaves if leaf.name in read]


def _local(leaf: Leaf, prefix: str = "") -> str:
    return f"R {prefix}{leaf.name}_[{leaf.size or 1}];"


def _load(leaf: Leaf, source: str, prefix: str = "") -> str:
    return f"read_rows(b, {source}, {leaf.size}, {prefix}{leaf.name}_);"


def _loads(leaves: Iterable[Leaf], owner: str) -> list[str]:
    return [line for leaf in leaves for line in (_local(leaf), _load(leaf, f"{owner}.{leaf.name}"))]


def _store(leaf: Leaf, prefix: str = "") -> str:
    return f"write_rows(b, {prefix}{leaf.name}_, {leaf.size}, args.{prefix}{leaf.name});"


def _item(name: str, struct: str, body: Iterable[str]) -> list[str]:
    return _function(f"DS_ITEM void {name}(int item, const {struct}& args)", body)


def _function(head: str, body: Iterable[str]) -> list[str]:
    return [head, "{", *(f"    {line}" for line in body), "}"]
