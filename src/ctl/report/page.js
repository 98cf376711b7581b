// The map zooms: the page holds every extent that is not good, and the blocks
// of what is looked at are drawn anew from them.
(function () {
  "use strict";
  var SVG = "http://www.w3.org/2000/svg";
  var NAMES = ["good", "remapped", "pending", "faulty spare"];
  var data = JSON.parse(document.getElementById("extents").textContent);
  var svg = document.getElementById("map");
  var layer = document.getElementById("blocks");
  var labels = document.getElementById("labels");
  var most = data.columns * data.rows;
  var starts = [], ends = [], states = [];
  var level, top_level, first, bottom_level = Math.log2(data.step);

  // As differences to the end of the one before, so that the page stays small.
  for (var i = 0, at = 0; data.extents.length > i; i += 3) {
    starts.push(at + data.extents[i]);
    at = at + data.extents[i] + data.extents[i + 1];
    ends.push(at);
    states.push(data.extents[i + 2]);
  }

  function grouped(n) {
    return String(n).replace(/\B(?=(\d{3})+$)/g, "\u202f");
  }

  // The first extent that ends after sector.
  function find(sector) {
    var low = 0, high = ends.length;
    while (high > low) {
      var middle = (low + high) >> 1;
      if (ends[middle] > sector) high = middle; else low = middle + 1;
    }
    return low;
  }

  // How many sectors of each state are in [start, end).
  function count(start, end) {
    var counts = [0, 0, 0, 0];
    for (var i = find(start); starts.length > i; i++) {
      if (starts[i] >= end) break;
      counts[states[i]] += Math.min(ends[i], end) - Math.max(starts[i], start);
    }
    return counts;
  }

  function describe(start, end, counts) {
    var text = end - start === 1 ? "sector " + grouped(start)
      : "sectors " + grouped(start) + " to " + grouped(end - 1);
    var parts = [];
    for (var state = 1; 4 > state; state++) {
      if (counts[state] === 0) continue;
      parts.push(data.step === 1 ? grouped(counts[state]) + " " + NAMES[state] : NAMES[state]);
    }
    return text + ": " + (parts.length ? parts.join(", ") : "good");
  }

  function element(name, attributes, text, parent) {
    var e = document.createElementNS(SVG, name);
    for (var key in attributes) e.setAttribute(key, attributes[key]);
    e.textContent = text;
    parent.appendChild(e);
    return e;
  }

  function drawBlock(i, per) {
    var start = first + i * per, end = Math.min(start + per, data.sectors);
    var counts = count(start, end), state = 3;
    while (state > 0) {
      if (counts[state]) break;
      state--;
    }
    var rect = element("rect", {
      "class": "c" + state + (level > bottom_level ? " zoomable" : ""), rx: 2,
      x: data.left + i % data.columns * data.pitch, y: Math.floor(i / data.columns) * data.pitch,
      width: data.block, height: data.block
    }, "", layer);
    element("title", {}, describe(start, end, counts), rect);
    rect.addEventListener("click", function () { zoom(level - 4, start + per / 2); });
  }

  function draw() {
    var per = Math.pow(2, level);
    var blocks = Math.min(most, Math.ceil((data.sectors - first) / per));
    layer.textContent = labels.textContent = "";
    for (var i = 0; blocks > i; i++) {
      drawBlock(i, per);
      if (i % data.columns === 0) {
        element("text", {x: data.left - 10, y: i / data.columns * data.pitch + data.block - 1,
          "text-anchor": "end"}, grouped(first + i * per), labels);
      }
    }
    tell(per, blocks);
  }

  function tell(per, blocks) {
    var end = Math.min(first + blocks * per, data.sectors);
    document.getElementById("range").textContent = "sectors " + grouped(first) + " to " +
      grouped(end - 1) + ", " + (per === 1 ? "each a block" : grouped(per) + " a block");
    document.getElementById("in").disabled = bottom_level >= level;
    document.getElementById("out").disabled = document.getElementById("all").disabled = level === top_level;
    document.getElementById("back").disabled = first === 0;
    document.getElementById("on").disabled = end >= data.sectors;
  }

  // Shows blocks of 2^to sectors around the middle; whole lines, inside the disk.
  function zoom(to, middle) {
    level = Math.min(top_level, Math.max(bottom_level, to));
    var line = Math.pow(2, level) * data.columns, size = Math.pow(2, level) * most;
    first = Math.min(middle - size / 2, Math.ceil(data.sectors / line) * line - size);
    first = Math.max(0, Math.floor(first / line) * line);
    draw();
  }

  function middle() {
    return first + Math.pow(2, level) * most / 2;
  }

  function on(id, act) {
    document.getElementById(id).addEventListener("click", act);
  }

  top_level = 0;
  while (data.sectors > Math.pow(2, top_level) * most) top_level++;
  on("in", function () { zoom(level - 2, middle()); });
  on("out", function () { zoom(level + 2, middle()); });
  on("all", function () { zoom(top_level, 0); });
  on("back", function () { zoom(level, middle() - Math.pow(2, level) * most); });
  on("on", function () { zoom(level, middle() + Math.pow(2, level) * most); });
  document.getElementById("controls").hidden = false;
  document.getElementById("still").hidden = true;
  zoom(top_level, 0);
})();
