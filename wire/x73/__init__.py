"""ISO/IEEE 11073-20601: both sides of an association, without I/O, and what its reports mean.

Bottom up: `mder` (the encoding), `apdu`, `reports` and `services` (the messages), `framing` (a stream of them), `times`,
`units` and `codes`; `dim` (configurations), `values` and `measurements` (what observations mean), `understanding` (what
an association has told so far); `states` (both tables), `session`, `manager` with `requests`, `agent` with `store`
and `mds`; `specializations` (the devices as data); `transcript` (recordings).

How independent implementations behave, measured or read, and what follows from it here:

- antidote's manager accepts a standard configuration at once. For an unknown one it first asks for the MDS and then
  accepts; our agent answers the GET and does not send its configuration twice.
- LibreSoft's manager answers every request, even of a standard configuration, with accepted-unknown-config; our agent
  reports standard configurations, too. Its answers may state a wrong length of their info (`Tolerance.REPLY_LENGTH`).
- antidote's agent sends a time stamp under 0190 that neither table maps, a FLOAT under 06A4 where an SFLOAT is
  declared, and the body mass index under 05DC undeclared: `variants` and `undeclared` in `specializations`.
- A&D's cuff sends pressures and pulses in separate confirmed reports, stored and live mixed, not in order; its scale
  sends variable reports with a unit in each observation. Both need nothing special here.
"""
