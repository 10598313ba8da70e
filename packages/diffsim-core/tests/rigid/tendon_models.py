"""A machine with every kind of tendon and of actuator along a length."""

from __future__ import annotations

BODIES = """
    <site name="wall" pos="-.2 .1 .9"/>
    <body name="box" pos="0 0 1"><freejoint/>
      <geom type="box" size=".1 .08 .05" contype="0" conaffinity="0"/>
      <site name="thruster" pos=".1 .02 .03" euler="20 30 40"/><site name="s0" pos=".05 0 .06"/>
      <body name="arm" pos=".1 0 0"><joint name="yaw" axis="0 .1 1" damping=".05"/>
        <geom type="capsule" fromto="0 0 0 .2 0 0" size=".02" contype="0" conaffinity="0"/>
        <site name="s1" pos=".1 .03 .01"/>
        <body name="left" pos=".2 0 0"><joint name="l" type="slide" axis="0 1 0" damping=".1"/>
          <geom size=".03" contype="0" conaffinity="0"/><site name="s2" pos="0 .02 .02"/></body>
        <body name="right" pos=".2 -.05 0"><joint name="r" type="slide" axis="0 -1 0" damping=".1"/>
          <geom size=".03" contype="0" conaffinity="0"/></body>
      </body>
    </body>
    <body name="cart" pos="0 .4 .5"><joint name="x" type="slide" axis="1 0 0"/><joint name="spin" axis="0 1 0"/>
      <geom size=".05" pos="0 0 .1" contype="0" conaffinity="0"/><site name="s3" pos=".02 0 .15"/></body>"""
SMOOTH = """
    <fixed name="grip" stiffness="30" damping=".4" springlength=".01 .05"><joint joint="l" coef=".5"/>
      <joint joint="r" coef=".5"/></fixed>
    <fixed name="mixed" stiffness="4"><joint joint="yaw" coef="1.5"/><joint joint="x" coef="-.7"/></fixed>
    <spatial name="rope" stiffness="20" damping=".3" springlength="0 .3"><site site="s0"/><site site="s2"/></spatial>
    <spatial name="long" damping=".2"><site site="wall"/><site site="s1"/><site site="s3"/></spatial>"""
ROUGH = """
    <fixed name="grip" stiffness="30" damping=".4" springlength=".01 .05" limited="true" range="-.02 .06"
      frictionloss=".3"><joint joint="l" coef=".5"/><joint joint="r" coef=".5"/></fixed>
    <fixed name="mixed" limited="true" range="-.1 .15"><joint joint="yaw" coef="1.5"/>
      <joint joint="x" coef="-.7"/></fixed>
    <spatial name="rope" frictionloss=".2" limited="true" range=".1 .3"><site site="s0"/><site site="s2"/></spatial>
    <spatial name="long" damping=".2"><site site="wall"/><site site="s1"/><site site="s3"/></spatial>"""
ACTUATORS = """
    <motor name="pull" tendon="grip" gear="3"/>
    <position name="grasp" tendon="grip" kp="40" kv="2" forcerange="-1.5 1" gear="-.8"/>
    <velocity name="turn" tendon="mixed" kv="3"/>
    <position name="reel" tendon="rope" kp="25" kv="1" forcerange="-4 2"/>
    <motor name="tug" tendon="long" gear="-5"/>
    <general name="bounded" tendon="long" gainprm="6" forcerange="-2 3" gear="1.2"/>
    <general name="lag" joint="yaw" dyntype="filterexact" dynprm=".03" gainprm="5" biastype="affine"
      biasprm=".1 -5 -.3"/>
    <general name="slow" tendon="rope" dyntype="filter" dynprm=".05" gainprm="4" actlimited="true" actrange="-.4 .5"/>
    <intvelocity name="sum" joint="x" kp="8" kv=".5" actrange="-.3 .3" gear="1.3"/>
    <muscle name="flexor" joint="spin" force="6" lengthrange="-1 1.2" gear=".9" tausmooth=".2"/>
    <muscle name="extensor" tendon="mixed" force="5" lengthrange="-1.5 1"/>
    <motor name="jet" site="thruster" gear="1 2 -3 .1 .2 -.3"/>
    <general name="drag" site="thruster" gear="2 0 1 0 .2 0" gainprm="1.5" biastype="affine" biasprm=".2 0 -.7"
      forcerange="-1 1"/>
    <motor name="plain" joint="r" gear="2"/>"""


def machine(tendons: str = SMOOTH, actuators: str = ACTUATORS) -> str:
    return (
        f'<mujoco model="machine"><option jacobian="dense"/><worldbody>{BODIES}</worldbody>'
        f"<tendon>{tendons}</tendon><actuator>{actuators}</actuator></mujoco>"
    )
